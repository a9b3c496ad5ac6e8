"""What a mission is: models and their limits, the status table, the events, every refusal. No input or output."""
