"""Where the wings meet: trainings that ask the judge while they run. `feedback/` and `train/` know nothing of each
other."""
