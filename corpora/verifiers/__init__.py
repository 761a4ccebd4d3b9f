"""What an answer is checked by, in a process apart: problems of reasoning-gym, and instructions."""
