"""Espressif's ESP-DL for edgecompile: engine esp_dl, targets esp32-p4 and esp32-s3."""
