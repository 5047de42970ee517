"""Training: data, losses, optimizers, schedules and the loop."""
