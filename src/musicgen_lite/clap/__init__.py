"""CLAP, the model that scores how well audio fits a caption."""
