"""The processes of a server: workers, the address they share, and their watchdog."""
