"""What labels, judges and trained models are worth: measurements that may look at feedback, people's labels and
training alike."""
