"""What the user is told while he looks elsewhere: toasts, the desktop's tray, a tone, a voice; and the rules for it."""
