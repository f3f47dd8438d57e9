"""Compiled lives of tasks that phases do not express; imported when a task is scored."""
