"""Pictures of what cpd-simulate predicts."""
