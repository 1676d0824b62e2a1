"""Names of events: Segment's e-commerce names, and Google Analytics' for the same."""

SEGMENT_NAME = {
    "view_item": "Product Viewed",
    "select_item": "Product Clicked",
    "view_item_list": "Product List Viewed",
    "search": "Products Searched",
    "view_search_results": "Products Searched",
    "add_to_cart": "Product Added",
    "remove_from_cart": "Product Removed",
    "add_to_wishlist": "Product Added to Wishlist",
    "view_cart": "Cart Viewed",
    "begin_checkout": "Checkout Started",
    "purchase": "Order Completed",
    "refund": "Order Refunded",
    "view_promotion": "Promotion Viewed",
    "select_promotion": "Promotion Clicked",
    "share": "Product Shared",
}
IDENTIFY, ALIAS, GROUP, PAGE, SCREEN = "Identify", "Alias", "Group", "Page Viewed", "Screen Viewed"
NAME_OF_CALL = {"identify": IDENTIFY, "alias": ALIAS, "group": GROUP, "page": PAGE, "screen": SCREEN}
ORDER, REFUND, CANCELLED = "Order Completed", "Order Refunded", "Order Cancelled"
