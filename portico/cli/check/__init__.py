"""`portico check`: find what is wrong with a site before it is deployed."""
