"""The judge between champion and challenger, who may look as often as they like without being misled."""
