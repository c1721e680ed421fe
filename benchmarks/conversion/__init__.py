"""What dataset_conversion measures with: data, least-work converters, other tools, and a launcher."""
