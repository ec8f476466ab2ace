"""The norm of the residual stream set to that of ID inputs: nothing dropped, no answer used."""
