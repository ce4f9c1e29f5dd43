"""Records and their line items."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "records",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("document_id", sa.String(64), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("kind", sa.String(16), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("straight_through", sa.Boolean(), nullable=False),
        sa.Column("store_name", sa.Text(), nullable=True),
        sa.Column("date", sa.Date(), nullable=True),
        sa.Column("currency", sa.String(3), nullable=True),
        sa.Column("total", sa.Numeric(20, 4), nullable=True),
        sa.Column("record", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_records"),
        sa.UniqueConstraint(
            "tenant", "document_id", "revision", "run_id", name="uq_records_tenant_document_id_revision_run_id"
        ),
    )
    op.create_index("ix_records_tenant_date", "records", ["tenant", "date"])
    op.create_index("ix_records_tenant_created_at", "records", ["tenant", "created_at"])
    op.create_table(
        "items",
        sa.Column("record_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("quantity", sa.Numeric(20, 4), nullable=True),
        sa.Column("unit_price", sa.Numeric(20, 4), nullable=True),
        sa.Column("amount", sa.Numeric(20, 4), nullable=True),
        sa.Column("discount", sa.Numeric(20, 4), nullable=True),
        sa.PrimaryKeyConstraint("record_id", "position", name="pk_items"),
        sa.ForeignKeyConstraint(["record_id"], ["records.id"], name="fk_items_record_id", ondelete="CASCADE"),
    )


def downgrade() -> None:
    op.drop_table("items")
    op.drop_table("records")
