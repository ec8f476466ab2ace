"""Train the model that a plan leaves, and judge it on the rows that its run was judged on."""
