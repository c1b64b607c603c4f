"""What CPD's programs import besides casts."""
