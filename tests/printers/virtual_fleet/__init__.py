"""Virtual printers: a real MQTT broker with one TLS listener per printer and a process that plays them."""
