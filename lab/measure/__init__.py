"""What is measured for the documents."""
