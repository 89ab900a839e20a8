from playwright.sync_api import Browser


def test_a_page_runs_its_script_and_can_be_clicked(chromium: Browser) -> None:
    page = chromium.new_page()
    page.set_content("<button onclick='this.textContent = 6 * 7'>answer</button>")
    page.get_by_role("button").click()
    assert page.get_by_role("button").text_content() == "42"
    assert page.screenshot().startswith(b"\x89PNG")
