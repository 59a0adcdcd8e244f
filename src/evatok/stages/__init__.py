"""What each stage trains or writes, a file each."""
