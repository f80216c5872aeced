"""From prompts and a constitution to preference pairs: sample, judge, aggregate, choose pairs, critique."""
