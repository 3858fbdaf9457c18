"""What a valid row is: columns and their contract. It goes along with every model."""
