"""The one loop under every training stage: optimisers, schedules, averages, checkpoints, resume, processes."""
