"""What a job trains on, and its two stages: a head on the frozen backbone, and one whose backbone's end learns, too."""
