"""What Synapse costs, as ratios to what the same work costs without it, measured in one run."""
