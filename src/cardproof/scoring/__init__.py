"""From a rollout to every axis, and the table they are kept in."""
