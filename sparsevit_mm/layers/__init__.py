"""What a backbone is made of, each a small piece of its own."""
