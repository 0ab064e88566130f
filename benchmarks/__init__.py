"""What the product costs and how fast it is, counted and priced. May import everything; is never packaged."""
