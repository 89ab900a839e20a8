import redis as client


def test_a_value_comes_back(redis: str) -> None:
    with client.Redis.from_url(redis) as connection:
        connection.set("kept", "7")
        assert connection.get("kept") == b"7"
