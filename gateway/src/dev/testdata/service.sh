#!/bin/sh
# Stands in for a service in the tests: runs until its input closes.
read -r _
