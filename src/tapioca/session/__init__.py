"""What commands start from: the model, its data split once, the run folder, and what they all measure first."""
