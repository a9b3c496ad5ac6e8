"""What a deployment costs a month: the table in docs/aws.md, and that of `make costs`."""
