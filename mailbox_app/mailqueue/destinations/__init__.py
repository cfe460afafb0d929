"""How the hosts that mail goes to do: circuit breakers, pace, and the volumes of an address that is new."""
