"""What comes into a run from outside: from the hub, a mirror, wheels or local folders; and checks of weight files."""
