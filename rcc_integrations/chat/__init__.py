"""What every framework needs: conversations to requests, tools and objects by grammar."""
