"""The places that files of tables are in: the disks of this machine, and stores of objects."""
