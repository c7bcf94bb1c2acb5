"""The API's operations, one module for each subject."""
