"""What people look at: card, figures, page, diff, Hub."""
