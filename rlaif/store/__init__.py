"""Results that cost model time, kept for ever: append as they arrive, look up by key, share between runs."""
