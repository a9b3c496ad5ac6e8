"""Doubles of AWS's services, for what cannot run on one machine. Each says whose rules it follows."""
