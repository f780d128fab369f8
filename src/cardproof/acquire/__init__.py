"""From outside into the run: hub, mirror, wheels, local folders, and what a weights file may hold."""
