"""What a run runs in: signals, threads, memory, progress."""
