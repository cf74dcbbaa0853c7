"""What a service manager such as systemd is told, and the unit file it reads; knows no director and no machine."""
