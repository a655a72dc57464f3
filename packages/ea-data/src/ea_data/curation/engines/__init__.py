"""What drives the stages: this process, a pool of processes, or Ray Data; all give the same results."""
