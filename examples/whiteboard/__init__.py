"""A page on which everybody draws with everybody else."""
