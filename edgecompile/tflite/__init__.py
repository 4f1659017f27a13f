"""TFLite's file format: a lowered graph of standard operators -> a flatbuffer."""
