"""Source -> verdicts, findings and fixes: decided without running anything."""
