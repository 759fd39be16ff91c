"""`gradus bench soak`: clients of all kinds for as long as asked, and what that does to the server."""
