"""What a shorter model gains in time and memory."""
