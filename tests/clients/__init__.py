"""AMI clients written by others, in conversation with the simulated gateway."""
